//! docxy as a whole on difficult roads: names that are lied about, proxies that die, registries and doors that demand
//! certificates; all of it from the configuration file.

mod certificates;
mod names;
mod proxies;
