mod admission;
mod crash_points;
mod decisions;
pub mod instances;
mod load;
pub mod messages;
pub mod parking;
pub mod projections;
mod servers;
