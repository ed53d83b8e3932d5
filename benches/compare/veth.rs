//! The same over network cards: the server in a network of its own, with one cable to its clients and one to their
//! peers. The cards (veth) have segmentation offload and GRO as good real ones have, and receive on threads of their
//! own, so that trains can form.
//!
//! ```text
//! clients 10.99.1.2 ---- 10.99.1.1 server 10.99.2.1 ---- 10.99.2.2 peers
//! core 1  twc0                 tws0     tws1                  twc1  core 1
//! ```
//! Clients and peers share a network, because one load tester is both and checks each packet at both ends; between
//! them there is no way but through the server. Two sleeping processes hold the networks. These end with this one,
//! also when it is killed, and nothing is left then.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::mortal;
use crate::site::Site;

const SERVER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 99, 1, 1)), IpAddr::V4(Ipv4Addr::new(10, 99, 2, 1))];
/// How long the networks live at most.
const LIFETIME: &str = "1800";
const PATIENCE: Duration = Duration::from_secs(5);

/// A network that lives as long as this value.
struct Network(Child);

impl Network {
    fn new() -> Result<Self, String> {
        // Turnwire tries over loopback what the kernel can. Its own view of /sys shows the network's devices.
        let hold = format!(
            "ip link set lo up && mount -t sysfs sysfs /sys && echo && exec sleep {LIFETIME}"
        );
        let mut command = mortal();
        command.args(["unshare", "--net", "--mount", "sh", "-c", &hold]);
        let child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let mut network = Self(child);
        let mut ready = [0];
        let stdout = network.0.stdout.as_mut().ok_or("no output")?;
        std::io::Read::read_exact(stdout, &mut ready).map_err(|_| "no network was made")?;
        Ok(network)
    }

    /// The words that enter it.
    fn enter(&self) -> Vec<String> {
        let pid = self.0.id().to_string();
        ["nsenter", "--target", &pid, "--net", "--mount"].map(str::to_owned).into()
    }

    fn run(&self, words: &str) -> Result<(), String> {
        let mut enter = self.enter();
        enter.extend(words.split_whitespace().map(str::to_owned));
        run(&enter)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(words: &[String]) -> Result<(), String> {
    let output = Command::new(&words[0]).args(&words[1..]).output();
    let output = output.map_err(|error| format!("{}: {error}", words[0]))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Makes the networks and runs this program again within that of the clients.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn run_inside() -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    if user.and_then(|ids| ids.split_whitespace().nth(1)) != Some("0") {
        return Err("making networks needs root".to_owned());
    }
    for tool in ["ip", "ethtool", "unshare", "nsenter", "setpriv", "taskset", "renice"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Err(format!("{tool} is not installed"));
        }
    }
    let (clients, server) = (Network::new()?, Network::new()?);
    let (inside, outside) = (server.0.id(), clients.0.id());
    let mut receivers = Vec::new();
    for cable in 0..2 {
        let (near, far) = (format!("tws{cable}"), format!("twc{cable}"));
        let link =
            format!("ip link add {near} netns {inside} type veth peer name {far} netns {outside}");
        run(&link.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
        for (network, device, core, last) in [(&server, near, "0", 1), (&clients, far, "1", 2)] {
            let receiver = plug_in(network, &device, core, cable + 1, last)?;
            if core == "0" {
                receivers.push(receiver.to_string());
            }
        }
    }
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let enter = clients.enter();
    let mut again = mortal();
    again.args(&enter).arg(program).args(["--inside", &inside.to_string()]).args(receivers);
    let status = again.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err("the measurement has failed".to_owned()) }
}

/// Sets a card up and tells the kernel's thread that receives on it.
fn plug_in(
    network: &Network,
    device: &str,
    core: &str,
    net: usize,
    last: usize,
) -> Result<u32, String> {
    network.run(&format!("ip address add 10.99.{net}.{last}/24 dev {device}"))?;
    // Without TSO, or the other end's card forms no trains of what local sockets send.
    network.run(&format!("ethtool -K {device} gro on tso off tx-udp-segmentation on"))?;
    let before = receivers(device);
    network.run(&format!("ip link set {device} up"))?;
    let mut thread = network.enter();
    let threaded = format!("echo 1 > /sys/class/net/{device}/threaded");
    thread.extend(["sh", "-c", &threaded].map(str::to_owned));
    run(&thread)?;
    let deadline = Instant::now() + PATIENCE;
    let receiver = loop {
        if let Some(new) = receivers(device).difference(&before).next() {
            break *new;
        }
        if Instant::now() > deadline {
            return Err(format!("{device} has no thread to receive on"));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    // Before the server, as the interrupts of a real card are.
    for words in
        [format!("taskset -p -c {core} {receiver}"), format!("renice -n -20 -p {receiver}")]
    {
        run(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
    }
    Ok(receiver)
}

/// The kernel's threads that receive on a device of this name.
fn receivers(device: &str) -> BTreeSet<u32> {
    let name = format!("napi/{device}-");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_one = |pid: &u32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.starts_with(&name))
    };
    pids.filter(is_one).collect()
}

/// The site as it is seen from within.
pub(crate) fn inside(words: &[String]) -> Option<Site> {
    let (server, receivers) = words.split_first()?;
    let enter = ["nsenter", "--target", server, "--net", "--mount"].map(str::to_owned);
    let receivers = receivers.iter().map(|pid| pid.parse()).collect::<Result<_, _>>();
    Some(Site::new(enter.into(), SERVER[0], SERVER[1], receivers.ok()?))
}
