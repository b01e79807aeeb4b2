mod access_matrix;
mod arguments;
mod everybody;
mod field_access;
mod field_matrix;
mod looking_around;
mod tokens;
mod ways;
