//! Networks, as docxy counts clients by where they come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// One IPv4 address, or the /64 that one IPv6 customer has to himself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network(IpAddr);

impl Network {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The IPv6 /48 that one customer may have of his provider.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Site(Ipv6Addr);

impl Network {
    /// `None` for IPv4.
    pub fn site(self) -> Option<Site> {
        match self.0 {
            IpAddr::V6(v6) => Some(Site(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80)))),
            IpAddr::V4(_) => None,
        }
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: clients are known by their IPv4 address, and a deny must not miss them.
pub fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let length = v6.prefix_len().checked_sub(96);
    let v4: Option<Ipv4Addr> = v6.network().to_ipv4_mapped();
    match (v4, length) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).map_or(network, IpNet::V4),
        _ => network,
    }
}
