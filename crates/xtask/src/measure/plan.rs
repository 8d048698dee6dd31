//! What is measured, in the order of the tables. About twenty-five minutes in all with three rounds, on
//! two cores with nothing else running.

use super::Section::{self, Classic, Growth, Marks};

/// A benchmark.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) section: Section,
    /// What follows `trunkline bench`.
    pub(super) command: &'static str,
    /// Whether it is run several times.
    pub(super) in_rounds: bool,
}

const fn mark(command: &'static str) -> Line {
    Line { section: Marks, command, in_rounds: true }
}

/// A mark that takes long, or is not of a rate.
const fn once(command: &'static str) -> Line {
    Line { section: Marks, command, in_rounds: false }
}

const fn growth(command: &'static str) -> Line {
    Line { section: Growth, command, in_rounds: false }
}

const fn classic(command: &'static str) -> Line {
    Line { section: Classic, command, in_rounds: false }
}

/// Every benchmark but [`APART`].
pub(super) const PLAN: &[Line] = &[
    mark("inproc --seconds 2"),
    mark("inproc --seconds 2 --tuned --workers 1"),
    mark("inproc-agents --seconds 2"),
    mark("inproc-request --in-flight 1,64 --seconds 2"),
    mark("oneway --transport framed,grpc --seconds 2"),
    mark("oneway --seconds 2 --tuned --workers 1"),
    mark("request --in-flight 1,64,256 --transport framed,grpc --seconds 2"),
    mark("fanout --transport framed,grpc --seconds 2"),
    mark("fanout-sessions --transport framed,grpc --seconds 2"),
    mark("durable --transport framed,grpc --seconds 2"),
    mark("durable --seconds 2 --tuned --workers 1"),
    once("durable --seconds 60"),
    mark("durable-accept --transport framed,grpc --seconds 2"),
    once("idle --transport framed,grpc --seconds 5"),
    once("recovery"),
    once("waiting"),
    once("reconnect"),
    growth("inproc --agents 1,10,100,1000,10000,100000 --in-flight 2048 --seconds 1"),
    growth("inproc --payload 64,256,1024,4096,16384,65536,262144,1048576 --seconds 1"),
    growth("inproc --in-flight 1,64,1024,8192 --seconds 1"),
    growth("inproc --agents 1000 --in-flight 10000,100000,1000000 --seconds 1"),
    growth("inproc --agents 10 --topics 10,100,1000,10000 --in-flight 2048 --seconds 1"),
    growth("oneway --agents 1,10,100,1000 --seconds 1"),
    growth("durable --agents 1,10,100,1000 --seconds 1"),
    growth("durable --payload 64,256,4096,65536,1048576 --seconds 2"),
    growth("deep --in-flight 1000,10000,100000,1000000 --seconds 2"),
    classic("durable --workers 1,10 --batch 1,100 --seconds 2"),
    classic("durable --workers 1,3,5,10 --seconds 2"),
    classic("oneway --batch 1,5,10,50,100 --seconds 2"),
    classic("durable --batch 1,10,50,100 --seconds 2"),
    classic("durable-accept --in-flight 1,16,64 --seconds 2"),
    classic("request --in-flight 50,100,200,500,1000 --seconds 2"),
    classic("a2a --seconds 2"),
    classic("latency --seconds 5"),
    classic("held"),
    classic("delay"),
    classic("mix"),
    classic("failure"),
    classic("failure --rate 20000 --seconds 2"),
    classic("agents-up --agents 100,1000"),
    classic("chatter --seconds 20"),
    classic("stalled"),
    classic("burst"),
];

/// The benchmark that is a command of its own: half an hour, of which a shorter time says nothing,
/// because within minutes memory moves by more than it may grow in an hour.
pub(super) const APART: &str = "soak";
