//! The address guard (threat S2): which addresses may be dialled for a registry.
//!
//! Sources: the IANA special-purpose address registries (RFC 6890 and its updates), RFC 6598 (shared address space),
//! RFC 2544 (benchmarking, which fake-IP networks borrow), RFC 6052 and 8215 (NAT64), RFC 3056 (6to4), RFC 4380
//! (Teredo), RFC 5214 (ISATAP). An IPv6 address that carries an IPv4 one is judged by what it carries.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Public,
    Loopback,
    /// RFC 1918, `fc00::/7`, site-local, local-use NAT64
    Private,
    /// 169.254/16 with the clouds' metadata service, `fe80::/10`
    LinkLocal,
    /// A cloud's metadata or platform service at an address that is not special otherwise
    Metadata,
    /// 100.64/10
    Shared,
    /// 198.18/15
    FakeIp,
    /// Documentation, discard, future use and whatever is not global unicast
    Reserved,
    Unspecified,
    Multicast,
    Broadcast,
}

impl Class {
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }

    /// May an address of this class be dialled? `allow_private` is the registry's own setting.
    pub fn allowed(self, allow_private: bool) -> bool {
        self == Self::Public || (allow_private && !self.never())
    }

    /// No registry can be there, whatever the configuration says.
    pub fn never(self) -> bool {
        matches!(self, Self::Unspecified | Self::Multicast | Self::Broadcast)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud's metadata address",
            Self::Shared => "a carrier-grade NAT address",
            Self::FakeIp => "an address of a fake-IP network (198.18.0.0/15)",
            Self::Reserved => "a reserved address",
            Self::Unspecified => "an unspecified address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
        })
    }
}

fn of_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [0, ..] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [10, ..] | [192, 168, ..] => Class::Private,
        [172, b, ..] if (16..32).contains(&b) => Class::Private,
        [169, 254, ..] => Class::LinkLocal,
        // Azure's platform service answers here, inside every virtual machine.
        [168, 63, 129, 16] => Class::Metadata,
        [100, b, ..] if (64..128).contains(&b) => Class::Shared,
        [198, 18 | 19, ..] => Class::FakeIp,
        [255, 255, 255, 255] => Class::Broadcast,
        [224..=239, ..] => Class::Multicast,
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] | [240..=255, ..] => {
            Class::Reserved
        }
        _ => Class::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Class {
    if address.is_unspecified() {
        return Class::Unspecified;
    }
    if address.is_loopback() {
        return Class::Loopback;
    }
    let s = address.segments();
    let last = carried(s[6], s[7]);
    match s {
        // mapped ::ffff:0:0/96, and translated ::ffff:0:0:0/96 (RFC 2765)
        // and NAT64 64:ff9b::/96
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            of_v4(last)
        }
        // compatible ::/96, deprecated
        [0, 0, 0, 0, 0, 0, ..] => of_v4(last).or(Class::Reserved),
        // Local-use NAT64: the address stands behind the /48 (RFC 6052 skips the ninth byte) or at the end.
        [0x64, 0xff9b, 1, ..] => {
            let behind = Ipv4Addr::from(
                (u32::from(s[3]) << 16) | u32::from((s[4] & 0xff) << 8) | u32::from(s[5] >> 8),
            );
            let judged = |place: Ipv4Addr| {
                if place.is_unspecified() {
                    Class::Public
                } else {
                    of_v4(place)
                }
            };
            judged(behind).or(judged(last)).or(Class::Private)
        }
        [0x2002, high, low, ..] => of_v4(carried(high, low)),
        // Teredo: the server's address in clear, the client's inverted
        [0x2001, 0, server_high, server_low, ..] => {
            of_v4(carried(server_high, server_low)).or(of_v4(carried(!s[6], !s[7])))
        }
        [0xff00..=0xffff, ..] => Class::Multicast,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Class::Private,
        // IETF protocol assignments 2001::/23, documentation 2001:db8::/32 and 3fff::/20
        [0x2001, 0x0000..=0x01ff | 0x0db8, ..] | [0x3fff, 0x0000..=0x0fff, ..] => Class::Reserved,
        // ISATAP: an IPv4 address in the interface identifier
        [.., 0x0000 | 0x0200, 0x5efe, _, _] if global(s[0]) => of_v4(last),
        [first, ..] if global(first) => Class::Public,
        _ => Class::Reserved,
    }
}

impl Class {
    /// The first that is not public.
    fn or(self, other: Self) -> Self {
        if self == Self::Public { other } else { self }
    }
}

/// `2000::/3`, the only block of global unicast addresses so far
fn global(first: u16) -> bool {
    (0x2000..0x4000).contains(&first)
}

fn carried(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    /// Host as somebody writes it into a URL, and the class it must fall into.
    const TABLE: &[(&str, Class)] = &[
        ("127.0.0.1", Class::Loopback),
        ("127.1", Class::Loopback),
        ("127.0.1", Class::Loopback),
        ("0x7f.1", Class::Loopback),
        ("0x7f000001", Class::Loopback),
        ("0X7F.0.0.1", Class::Loopback),
        ("2130706433", Class::Loopback),
        ("017700000001", Class::Loopback),
        ("0177.0.0.1", Class::Loopback),
        ("0177.0x0.0.01", Class::Loopback),
        ("127.0.0.1.", Class::Loopback),
        ("%31%32%37.0.0.1", Class::Loopback),
        ("１２７.0.0.1", Class::Loopback),
        ("127。0。0。1", Class::Loopback),
        ("127.255.255.254", Class::Loopback),
        ("[::1]", Class::Loopback),
        ("[0:0:0:0:0:0:0:1]", Class::Loopback),
        ("[0000:0000:0000:0000:0000:0000:0000:0001]", Class::Loopback),
        ("[::ffff:127.0.0.1]", Class::Loopback),
        ("[::ffff:7f00:1]", Class::Loopback),
        ("[0:0:0:0:0:ffff:7f00:0001]", Class::Loopback),
        ("[::127.0.0.1]", Class::Loopback),
        ("[::ffff:0:127.0.0.1]", Class::Loopback),
        ("[64:ff9b::127.0.0.1]", Class::Loopback),
        ("[64:ff9b::7f00:1]", Class::Loopback),
        ("[64:ff9b:1::127.0.0.1]", Class::Loopback),
        ("[64:ff9b:1:7f00:0:100::]", Class::Loopback),
        ("[2002:7f00:1::]", Class::Loopback),
        ("[2001:0:7f00:1::f7f7:f7f7]", Class::Loopback),
        ("[2001:0:808:808::80ff:fffe]", Class::Loopback),
        ("[2606:4700::5efe:127.0.0.1]", Class::Loopback),
        ("[2606:4700::200:5efe:127.0.0.1]", Class::Loopback),
        ("10.0.0.1", Class::Private),
        ("10.1", Class::Private),
        ("167772161", Class::Private),
        ("0xa000001", Class::Private),
        ("172.16.0.1", Class::Private),
        ("172.31.255.255", Class::Private),
        ("192.168.1.1", Class::Private),
        ("192.168.257", Class::Private),
        ("3232235777", Class::Private),
        ("[::ffff:10.0.0.1]", Class::Private),
        ("[::ffff:c0a8:101]", Class::Private),
        ("[64:ff9b::10.0.0.1]", Class::Private),
        ("[64:ff9b:1::8.8.8.8]", Class::Private),
        ("[64:ff9b:1:808:8:800:808:808]", Class::Private),
        ("[2002:a00:1::1]", Class::Private),
        ("[fc00::1]", Class::Private),
        ("[fd00:ec2::254]", Class::Private),
        ("[fec0::1]", Class::Private),
        ("169.254.169.254", Class::LinkLocal),
        ("2852039166", Class::LinkLocal),
        ("0xa9fea9fe", Class::LinkLocal),
        ("0251.0376.0251.0376", Class::LinkLocal),
        ("[::ffff:169.254.169.254]", Class::LinkLocal),
        ("[64:ff9b::a9fe:a9fe]", Class::LinkLocal),
        ("[2002:a9fe:a9fe::]", Class::LinkLocal),
        ("[fe80::1]", Class::LinkLocal),
        ("[febf::1]", Class::LinkLocal),
        ("168.63.129.16", Class::Metadata),
        ("[::ffff:168.63.129.16]", Class::Metadata),
        ("100.64.0.1", Class::Shared),
        ("100.100.100.200", Class::Shared),
        ("100.127.255.255", Class::Shared),
        ("198.18.0.1", Class::FakeIp),
        ("198.19.255.255", Class::FakeIp),
        ("[::ffff:198.18.0.1]", Class::FakeIp),
        ("192.0.2.1", Class::Reserved),
        ("192.0.0.192", Class::Reserved),
        ("198.51.100.7", Class::Reserved),
        ("203.0.113.9", Class::Reserved),
        ("240.0.0.1", Class::Reserved),
        ("[2001:db8::1]", Class::Reserved),
        ("[3fff::1]", Class::Reserved),
        ("[100::1]", Class::Reserved),
        ("[2001:10::1]", Class::Reserved),
        ("[5f00::1]", Class::Reserved),
        ("[::8.8.8.8]", Class::Reserved),
        ("[4000::1]", Class::Reserved),
        ("0.0.0.0", Class::Unspecified),
        ("0", Class::Unspecified),
        ("0x0", Class::Unspecified),
        ("0.1.2.3", Class::Unspecified),
        ("[::]", Class::Unspecified),
        ("[::ffff:0.0.0.0]", Class::Unspecified),
        ("224.0.0.1", Class::Multicast),
        ("239.255.255.250", Class::Multicast),
        ("[ff02::1]", Class::Multicast),
        ("[::ffff:224.0.0.1]", Class::Multicast),
        ("255.255.255.255", Class::Broadcast),
        ("4294967295", Class::Broadcast),
        ("[::ffff:255.255.255.255]", Class::Broadcast),
        ("8.8.8.8", Class::Public),
        ("100.128.0.1", Class::Public),
        ("172.32.0.1", Class::Public),
        ("198.20.0.1", Class::Public),
        ("[2606:4700::6810:1]", Class::Public),
        ("[::ffff:8.8.8.8]", Class::Public),
        ("[64:ff9b::8.8.8.8]", Class::Public),
        ("[2002:808:808::1]", Class::Public),
    ];

    #[test]
    fn every_spelling_of_an_address_is_seen_through() {
        // An operator must be safe from a registry that redirects into the inner network, however the address is spelt (S2).
        let mut refused = 0;
        for (host, class) in TABLE {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            let address = match url.host().unwrap() {
                url::Host::Ipv4(a) => IpAddr::V4(a),
                url::Host::Ipv6(a) => IpAddr::V6(a),
                url::Host::Domain(d) => panic!("{host} was taken for the name {d}"),
            };
            assert_eq!(Class::of(address), *class, "{host} = {address}");
            assert_eq!(class.allowed(false), *class == Class::Public, "{host}");
            refused += usize::from(!class.allowed(false));
        }
        assert!(refused >= 60, "only {refused}");
        println!("{refused} of {} spellings refused", TABLE.len());
    }

    #[test]
    fn nothing_makes_multicast_dialable() {
        // allow_private_addresses opens the inner network, not what can never be a registry.
        for class in [Class::Unspecified, Class::Multicast, Class::Broadcast] {
            assert!(!class.allowed(true));
        }
        assert!(Class::Loopback.allowed(true));
    }
}
