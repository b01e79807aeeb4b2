use std::fs;

use anyhow::{Context as _, bail};

/// What a process needs beside its subscribers' sockets: libraries, logs, connections to both servers.
const BESIDE: u64 = 300;

/// Each subscriber is an open file here and one in the bank.
///
/// # Errors
/// Says what to do when either process may not open as many.
pub fn suffice(bank: u32, subscribers: u32) -> anyhow::Result<()> {
    let needed = u64::from(subscribers) + BESIDE;
    for (who, process) in [("this process", std::process::id()), ("the bank", bank)] {
        let limit = limit_of(process)?;
        if limit < needed {
            bail!(
                "{who} may have {limit} files open, and {subscribers} subscribers need {needed}: \
                 run `ulimit -n {needed}` in the shell that starts both, or measure with --subscribers {}",
                limit.saturating_sub(BESIDE)
            );
        }
    }
    Ok(())
}

/// How many connections this process can have with both of their ends.
pub fn pairs() -> anyhow::Result<u32> {
    let limit = limit_of(std::process::id())?;
    Ok(u32::try_from(limit.saturating_sub(BESIDE) / 2).unwrap_or(u32::MAX).max(1))
}

/// proc(5): a line "Max open files", then the limit in force and the one it can be raised to.
fn limit_of(process: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/limits")).with_context(|| format!("process {process}"))?;
    soft_limit(&text).with_context(|| format!("/proc/{process}/limits has an unknown form"))
}

fn soft_limit(limits: &str) -> Option<u64> {
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if limit == "unlimited" { Some(u64::MAX) } else { limit.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_in_force_counts() {
        let limits = "Max processes  1 2 processes\nMax open files            1024                 4096   files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit("Max open files  unlimited unlimited files"), Some(u64::MAX));
    }

    #[test]
    fn who_has_too_few_is_told_how_to_get_more() {
        let refused = suffice(std::process::id(), u32::MAX).expect_err("so many are never allowed");
        assert!(refused.to_string().contains("ulimit -n 4294967595"), "{refused}");
    }
}
