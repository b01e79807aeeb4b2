mod crash_points;
mod load;
mod messages;
mod servers;
