//! What the system says of this process, under the names that Prometheus' own libraries use.
//!
//! From `/proc`, looked at when somebody asks; where there is none, there are no such metrics.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::param::{clock_ticks_per_second, page_size};

/// Asks anew each time.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut tell = |name, help: &str, unit: Option<Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
        };
        if let Some(stat) = Stat::read() {
            let resident = ConstGauge::new(stat.resident_bytes);
            tell("process_resident_memory", "Memory that the process takes.", Some(Unit::Bytes), &resident)?;
            let cpu = ConstCounter::new(stat.cpu_seconds);
            tell("process_cpu", "Processor time that the process took.", Some(Unit::Seconds), &cpu)?;
            if let Some(booted) = boot_time() {
                let started = ConstGauge::new(booted + stat.started_seconds);
                tell("process_start_time", "When the process began.", Some(Unit::Seconds), &started)?;
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is what they are counted by.
            let open = ConstGauge::new(open.count().saturating_sub(1) as u64);
            tell("process_open_fds", "File descriptors that are open.", None, &open)?;
        }
        if let Some(most) = most_open() {
            tell("process_max_fds", "File descriptors that may be open.", None, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

/// What is used of `/proc/self/stat` (proc(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    /// Since the system began.
    started_seconds: f64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        Self::parse(&text, clock_ticks_per_second(), page_size() as u64)
    }

    fn parse(text: &str, ticks: u64, page: u64) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // proc(5) numbers from 1, and the first one here is its third.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let seconds = |field| Some(number(field)? as f64 / ticks as f64);
        Some(Self {
            cpu_seconds: seconds(14)? + seconds(15)?,
            started_seconds: seconds(22)?,
            resident_bytes: number(24)? * page,
        })
    }
}

/// When the system began, in seconds since 1970.
fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// How many descriptors may be open; none of it without a limit.
fn most_open() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let text = "42 (a) b) R 1 1 1 0 -1 4194304 1 2 3 4 250 150 7 8 20 0 4 0 1000 123456 12 18446744073709551615\n";
        let stat = Stat { cpu_seconds: 4.0, started_seconds: 10.0, resident_bytes: 12 * 4096 };
        assert_eq!(Stat::parse(text, 100, 4096), Some(stat));
        for damaged in ["", "42 (a", "42 (a) R 1 2", &text.replace("250", "x")] {
            assert_eq!(Stat::parse(damaged, 100, 4096), None, "{damaged:?}");
        }
    }
}
