//! SQL of the module's own schema, one file per table.

pub mod counts;
pub mod events;
pub mod evidence;
pub mod gaps;
pub mod head;
pub mod names;
pub mod search;
pub mod velocities;
pub mod violations;
