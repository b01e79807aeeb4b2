mod access_matrix;
mod arguments;
mod field_access;
mod field_matrix;
mod tokens;
mod ways;
