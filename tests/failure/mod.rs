mod crash_points;
mod decisions;
mod instances;
mod load;
mod messages;
mod parking;
mod projections;
mod servers;
