mod crash_points;
mod instances;
mod load;
mod messages;
mod parking;
mod servers;
