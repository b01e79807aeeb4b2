pub mod connection;
pub mod faults;
pub mod guards;
pub mod ids;
pub mod scalars;
pub mod scope;
pub mod user_error;

