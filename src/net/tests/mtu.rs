//! Segments that are larger than the MTU, in a network of their own.

use std::{io, mem, thread};

use super::*;

/// Moves this thread into a new network whose loopback interface has this MTU. Needs to be root.
fn network_of_its_own(mtu: i32) -> io::Result<()> {
    // SAFETY: takes no pointer.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an `ifreq` is plain data, and all zeros is its empty value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    let ask = |name: libc::Ioctl, request: &libc::ifreq| {
        // SAFETY: both requests read one `ifreq`.
        match unsafe { libc::ioctl(socket.as_raw_fd(), name, request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    request.ifr_ifru.ifru_mtu = mtu;
    ask(libc::SIOCSIFMTU, &request)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    ask(libc::SIOCSIFFLAGS, &request)
}

/// Sends and receives trains of segments below and above an MTU of 1500 bytes.
fn trains_around_the_mtu() {
    for ip in loopbacks() {
        let (sender, receiver) = (relay(ip), relay(ip));
        let to = receiver.local_addr().unwrap();
        let mut outbox = Outbox::new(16).segmentation(true);
        for round in 0..3_u8 {
            let sizes = [1000, 1000, 2000, 2000, 2000, 1000, 30_000, 30_000, 1400, 1400];
            let expected: Vec<_> =
                (0..).zip(sizes).map(|(i, size)| vec![round * 16 + i; size]).collect();
            expected.iter().for_each(|payload| outbox.push(&sender, to, payload));
            let report = outbox.flush();
            // 2000 with the shorter 1000 behind them, and 30,000 with 1400, are refused and go one by one. From
            // then on, both 1400 are left for each other.
            let trains = if round == 0 { 1 } else { 2 };
            assert_eq!(report, SendReport { trains, ..sent(10) }, "{ip}");
            let got = Inbox::new(16).datagrams(&receiver, 10);
            assert!(got.iter().map(|(_, payload)| payload).eq(&expected));
        }
    }
}

#[test]
fn segments_beyond_the_mtu_are_sent_one_by_one() {
    let test = thread::spawn(|| match network_of_its_own(1500) {
        Ok(()) => trains_around_the_mtu(),
        Err(error) => println!("note: no network of our own ({error}), the MTU is not tested"),
    });
    test.join().unwrap();
}
