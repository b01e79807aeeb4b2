mod crash_points;
mod load;
mod messages;
mod parking;
mod projections;
mod servers;
