mod field_access;
mod tokens;
