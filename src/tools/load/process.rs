//! What the kernel tells about processes and sockets.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The server's process, on this machine.
pub(super) struct Process {
    pid: u32,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// CPU time of all of its threads.
    pub(super) cpu: Duration,
    /// Resident memory, in bytes.
    pub(super) resident: u64,
}

impl Process {
    /// # Errors
    /// There is no such process, or its figures may not be read.
    pub(super) fn new(pid: u32) -> io::Result<Self> {
        let process = Self { pid };
        process.cpu()?;
        Ok(process)
    }

    /// What it has used so far; nothing when it is gone.
    pub(super) fn usage(&self) -> Usage {
        Usage { cpu: self.cpu().unwrap_or_default(), resident: self.resident().unwrap_or_default() }
    }

    /// The first number of schedstat is a thread's time on a CPU, in nanoseconds: finer than the ticks of stat.
    fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread may end meanwhile.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanos +=
                text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    }
}

/// Datagrams that these sockets of ours have lost because nobody read them in time: the load tester's own fault.
pub(super) fn dropped<'a>(sockets: impl Iterator<Item = &'a (dyn AsFd + 'a)>) -> u64 {
    let inodes: std::collections::HashSet<u64> = sockets.filter_map(inode).collect();
    ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .map(|table| table.lines().skip(1).filter_map(|line| drops_of(line, &inodes)).sum::<u64>())
        .sum()
}

fn inode(socket: &dyn AsFd) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_fd().as_raw_fd())).ok()?;
    let name = link.to_str()?;
    name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Columns of the table: the inode is the tenth, drops the last.
fn drops_of(line: &str, inodes: &std::collections::HashSet<u64>) -> Option<u64> {
    let mut columns = line.split_whitespace();
    let inode = columns.nth(9)?.parse().ok()?;
    let drops = columns.next_back()?.parse().ok()?;
    inodes.contains(&inode).then_some(drops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn this_process_has_used_something() {
        let process = Process::new(std::process::id()).unwrap();
        let usage = process.usage();
        assert!(usage.cpu > Duration::ZERO && usage.resident > 100_000, "{usage:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Process::new(u32::MAX - 1).is_err());
    }

    #[test]
    fn datagrams_that_nobody_reads_are_counted() {
        let (full, idle) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        socket2::SockRef::from(&full).set_recv_buffer_size(4096).unwrap();
        for _ in 0..100 {
            idle.send_to(&[0; 1000], full.local_addr().unwrap()).unwrap();
        }
        assert!(dropped([&full as &dyn AsFd].into_iter()) > 50);
        assert_eq!(dropped([&idle as &dyn AsFd].into_iter()), 0);
    }
}
