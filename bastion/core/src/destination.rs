//! Where a forward may go: the items that the inventory lists for a VM instance, each with a level.
//!
//! A list is the boundary, so it is read closed: an operator reaches what is spelled in it, letter
//! by letter, and nothing else. `127.1`, `LOCALHOST` or a path with `//` in it are not listed, and
//! so they are refused; nobody has to know what they would mean on the VM.
//!
//! ```text
//! tcp:127.0.0.1:9187            one port, as seen from the VM
//! tcp:127.0.0.1:30000-60000     a range of ports, on loopback only (VS Code picks one of them)
//! unix:/run/exporter.sock       a socket
//! listen:9000                   a port of the VM's loopback whose connections go to the operator
//! ```
//!
//! What is listed as data stays data however it is reached. An item of the level `data` wins over a
//! range that its port lies in, and over an item that may be the same place under another spelling:
//! loopback has many names, and what a host name means is known on the VM alone.

use crate::id::{DestinationName, InstanceId};
use audit_schema::event::{ChannelKind, Level};
use serde::{Deserialize, Serialize, Serializer};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// The longest host name that DNS has.
const HOST_BYTES_MAX: usize = 253;

/// The longest path of a socket: `sockaddr_un` without its end.
const PATH_BYTES_MAX: usize = 107;

/// An item of a VM instance's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// What entries call it.
    pub name: DestinationName,
    /// The life of a VM that it belongs to.
    pub instance: InstanceId,
    /// Where it is.
    pub spot: Spot,
    /// What it reaches: the database's port is `data`.
    pub level: Level,
    /// What it is, for people.
    pub description: String,
}

/// Where a listed destination is. There is one spelling for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Spot {
    /// Ports of a host, as seen from the VM.
    Tcp {
        /// An address in its one spelling, or a name in lower case.
        host: String,
        /// The first port.
        first: u16,
        /// The last port; the first where there is one.
        last: u16,
    },
    /// A socket on the VM.
    Unix {
        /// Its absolute path, without detours.
        path: String,
    },
    /// A port of the VM's loopback that may be listened on for the operator; 0 is any that the VM
    /// picks.
    Listen {
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
}

/// What an operator asks for, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A connection to a port.
    Tcp {
        /// The host, as typed.
        host: String,
        /// The port.
        port: u16,
    },
    /// A connection to a socket.
    Unix {
        /// The path, as typed.
        path: String,
    },
    /// A port to be listened on.
    Listen {
        /// The address, as the client gave it.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Why a forward does not go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// It is not listed.
    Unlisted,
    /// It is of a higher level than the account.
    Data,
}

/// The listed item that is wanted, if an account of this level may reach it.
pub fn reach<'a>(
    wanted: &Wanted,
    listed: &'a [Destination],
    level: Level,
) -> Result<&'a Destination, Unreachable> {
    // The narrowest item says what it is.
    let named = listed.iter().filter(|item| item.spot.names(wanted));
    let item = named.min_by_key(|item| item.spot.width()).ok_or(Unreachable::Unlisted)?;
    let is_data = |item: &&Destination| item.level == Level::Data && item.spot.touches(wanted);
    if level < item.level || (level < Level::Data && listed.iter().any(|item| is_data(&item))) {
        return Err(Unreachable::Data);
    }
    Ok(item)
}

/// The item of the other level that may be the same place: a list that says both would say nothing.
/// A range with a data port in it is no contradiction, as the port wins.
pub fn contradiction<'a>(new: &Destination, listed: &'a [Destination]) -> Option<&'a Destination> {
    listed.iter().find(|old| {
        let same = old.spot.wanted_first().is_some_and(|spot| new.spot.touches(&spot))
            || new.spot.wanted_first().is_some_and(|spot| old.spot.touches(&spot));
        old.level != new.level && old.spot.width() == 0 && new.spot.width() == 0 && same
    })
}

impl Spot {
    /// Whether this item is spelled as what is wanted.
    fn names(&self, wanted: &Wanted) -> bool {
        match (self, wanted) {
            (Self::Tcp { host, first, last }, Wanted::Tcp { host: asked, port }) => {
                host == asked && (first..=last).contains(&port)
            }
            (Self::Unix { path }, Wanted::Unix { path: asked }) => path == asked,
            (Self::Listen { first, last }, Wanted::Listen { host, port }) => {
                LISTENS.contains(&host.as_str()) && (first..=last).contains(&port)
            }
            _ => false,
        }
    }

    /// Whether what is wanted may be this place, under whatever spelling.
    fn touches(&self, wanted: &Wanted) -> bool {
        match (self, wanted) {
            (Self::Tcp { host, first, last }, Wanted::Tcp { host: asked, port }) => {
                (first..=last).contains(&port) && may_be_one_host(host, asked)
            }
            // Whoever listens where the database should be speaks in its name.
            (Self::Tcp { host, first, last }, Wanted::Listen { port, .. }) => {
                (first..=last).contains(&port) && may_be_one_host(host, "127.0.0.1")
            }
            (Self::Unix { path }, Wanted::Unix { path: asked }) => run(path) == run(asked),
            (Self::Listen { first, last }, Wanted::Listen { port, .. }) => {
                (first..=last).contains(&port)
            }
            _ => false,
        }
    }

    /// How many ports it has besides the first.
    fn width(&self) -> u16 {
        match self {
            Self::Tcp { first, last, .. } | Self::Listen { first, last } => last - first,
            Self::Unix { .. } => 0,
        }
    }

    /// This place as somebody could want it; its first port.
    fn wanted_first(&self) -> Option<Wanted> {
        Some(match self {
            Self::Tcp { host, first, .. } => Wanted::Tcp { host: host.clone(), port: *first },
            Self::Unix { path } => Wanted::Unix { path: path.clone() },
            Self::Listen { first, .. } => {
                Wanted::Listen { host: LISTENS[0].to_owned(), port: *first }
            }
        })
    }
}

/// What clients call the VM's loopback when they ask for a port there.
const LISTENS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

fn may_be_one_host(one: &str, other: &str) -> bool {
    use HostClass::{Address, Loopback, Name};
    match (host_class(one), host_class(other)) {
        (Address(one), Address(other)) => one == other,
        // The VM's own addresses are not known here, nor what its resolver says.
        (Name | Loopback | Address(_), Name | Loopback | Address(_)) => true,
    }
}

#[derive(PartialEq, Eq)]
enum HostClass {
    /// This machine.
    Loopback,
    /// One address, this machine's own or another's.
    Address(IpAddr),
    /// Whatever the VM's resolver says.
    Name,
}

fn host_class(host: &str) -> HostClass {
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if address.is_loopback() || address.is_unspecified() => HostClass::Loopback,
        Ok(address) => HostClass::Address(address),
        Err(_) if host == "localhost" || host.ends_with(".localhost") => HostClass::Loopback,
        Err(_) => HostClass::Name,
    }
}

/// `/var/run` is `/run` on every Linux of today.
fn run(path: &str) -> &str {
    path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/")).unwrap_or(path)
}

impl Wanted {
    /// The kind of channel that it is.
    pub fn kind(&self) -> ChannelKind {
        match self {
            Self::Tcp { .. } => ChannelKind::ForwardLocal,
            Self::Unix { .. } => ChannelKind::ForwardStreamlocal,
            Self::Listen { .. } => ChannelKind::ForwardRemote,
        }
    }

    /// A connection, as a client asks for it; none where the port is none.
    pub fn tcp(host: &str, port: u32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        Some(Self::Tcp { host: host.to_owned(), port })
    }
}

/// As it was asked, for entries and sentences: bounded, and without anything but printable ASCII.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |text: &str| -> String {
            let shown = text.chars().take(HOST_BYTES_MAX);
            shown.map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
        };
        match self {
            Self::Tcp { host, port } => write!(f, "tcp:{}:{port}", bracketed(&plain(host))),
            Self::Unix { path } => write!(f, "unix:{}", plain(path)),
            Self::Listen { host, port } => write!(f, "listen:{}:{port}", bracketed(&plain(host))),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |first: u16, last: u16| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        match self {
            Self::Tcp { host, first, last } => {
                write!(f, "tcp:{}:{}", bracketed(host), ports(*first, *last))
            }
            Self::Unix { path } => write!(f, "unix:{path}"),
            Self::Listen { first, last } => write!(f, "listen:{}", ports(*first, *last)),
        }
    }
}

impl Serialize for Spot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Spot {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that names no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSpot(&'static str);

const FORMS: &str = "write tcp:HOST:PORT, unix:/PATH or listen:PORT, as tcp:127.0.0.1:9187";
const RANGES: &str = "a range of ports is possible on tcp:127.0.0.1, tcp:[::1] and listen only";

impl FromStr for Spot {
    type Err = BadSpot;
    fn from_str(text: &str) -> Result<Self, BadSpot> {
        let (form, rest) = text.split_once(':').ok_or(BadSpot(FORMS))?;
        let spot = match form {
            "tcp" => tcp(rest)?,
            "unix" => Self::Unix { path: path(rest)? },
            "listen" => {
                let (first, last) = ports(rest)?;
                if first == 0 && last > 0 {
                    return Err(BadSpot("listen:0 stands alone: any port that the VM picks"));
                }
                Self::Listen { first, last }
            }
            _ => return Err(BadSpot(FORMS)),
        };
        // One spelling each, so that a list has no doubles.
        if spot.to_string() == text { Ok(spot) } else { Err(BadSpot(FORMS)) }
    }
}

fn tcp(rest: &str) -> Result<Spot, BadSpot> {
    let (host, numbers) = rest.rsplit_once(':').ok_or(BadSpot(FORMS))?;
    let (first, last) = ports(numbers)?;
    if first == 0 {
        return Err(BadSpot("a port is 1 to 65535"));
    }
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match inner {
        Some(inner) => {
            let address: Ipv6Addr = inner.parse().map_err(|_| BadSpot(FORMS))?;
            if address.to_string() != inner || address.to_ipv4_mapped().is_some() {
                return Err(BadSpot("write the address in its shortest form"));
            }
            inner
        }
        None => host_name(host)?,
    };
    if first != last && !["127.0.0.1", "::1"].contains(&host) {
        return Err(BadSpot(RANGES));
    }
    Ok(Spot::Tcp { host: host.to_owned(), first, last })
}

/// An IPv4 address in its one spelling, or a name that no resolver can read as an address.
fn host_name(host: &str) -> Result<&str, BadSpot> {
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return Ok(host);
    }
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let last = host.rsplit('.').next().unwrap_or_default();
    // `127.1`, `2130706433` and `0x7f.1` are addresses to a C library.
    let numeric = last.bytes().next().is_none_or(|b| b.is_ascii_digit());
    let shaped = !host.starts_with(['.', '-']) && !host.contains("..") && !host.ends_with('.');
    if numeric || !shaped || host.len() > HOST_BYTES_MAX || !host.bytes().all(good) {
        return Err(BadSpot("write the host as an address, or as a name in lower case"));
    }
    Ok(host)
}

fn path(text: &str) -> Result<String, BadSpot> {
    const WRONG: &str = "write the socket's absolute path, without `//`, `.`, `..` and blanks";
    let parts = text.strip_prefix('/').ok_or(BadSpot(WRONG))?;
    let good = |part: &str| {
        let plain = part.bytes().all(|b| b.is_ascii_graphic());
        !part.is_empty() && part != "." && part != ".." && plain
    };
    if text.len() > PATH_BYTES_MAX || !parts.split('/').all(good) {
        return Err(BadSpot(WRONG));
    }
    Ok(text.to_owned())
}

fn ports(text: &str) -> Result<(u16, u16), BadSpot> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().map_err(|_| BadSpot("a port is 1 to 65535"));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(BadSpot("the first port of a range is the lower one"));
    }
    Ok((first, last))
}
