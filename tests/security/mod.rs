mod access_matrix;
mod field_access;
mod tokens;
