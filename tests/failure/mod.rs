mod crash_points;
mod decisions;
mod load;
mod messages;
mod parking;
mod servers;
