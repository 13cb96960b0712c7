//! Properties of runs: random graphs, random schedules and logs that are cut anywhere.

mod corners;
mod cuts;
mod ends;
mod events;
mod graphs;
mod hand;
mod records;
mod reference;
mod tape;
mod wild;
mod world;
