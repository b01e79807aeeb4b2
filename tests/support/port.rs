use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

/// A port for a test's own bank, below the range the kernel gives to outgoing connections.
///
/// It is the test's as long as this lives. That nobody listens on it is not enough: between two starts of a bank another
/// test would take it, and people of the one would be served by the bank of the other.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: File,
}

impl Port {
    /// Below them are those of tests with servers of their own, and of stacks.
    const NUMBERS: std::ops::Range<u16> = 31_700..32_700;

    pub fn free() -> Self {
        let many = usize::from(Self::NUMBERS.end - Self::NUMBERS.start);
        // Tests begin at different ones, so that they need not try each other's.
        let first = usize::try_from(std::process::id()).expect("a small number") % many;
        let held = Self::NUMBERS.cycle().skip(first).take(many).find_map(Self::hold);
        held.expect("one of a thousand ports is free")
    }

    fn hold(number: u16) -> Option<Self> {
        let file = File::create(std::env::temp_dir().join(format!("vostro-port-{number}.lock"))).ok()?;
        file.try_lock().ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _held: file })
    }

    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_belongs_to_one_test_whether_its_bank_listens_or_not() {
        let ports: Vec<Port> = (0..20).map(|_| Port::free()).collect();
        let numbers: std::collections::HashSet<u16> = ports.iter().map(|port| port.number).collect();
        assert_eq!(numbers.len(), ports.len());
    }
}
