//! Any upstream, any client, and nobody else: who gets what, in every mode, in front of a registry that judges by
//! itself.
//!
//! `matrix` asks for every kind of thing, by everyone, in every state of the cache. `registry` is the registry behind,
//! `mode` how the proxy is set up, `world` all of it with its clients, `content` what there is. The API's root is in
//! `root`; how long a word of the upstream's holds, and for whom, in `verdicts`; whom a registry has had enough of, in
//! `quota`; where credentials go, in `secrecy`; the rules under all names of a repository, in `names`; what is refused
//! before it starts, in `setup`.

mod content;
mod matrix;
mod mode;
mod names;
mod quota;
mod registry;
mod root;
mod secrecy;
mod setup;
mod verdicts;
mod world;
