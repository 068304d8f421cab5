//! Recognizes networks of well-known VPNs and of companies' web gateways by the number of their operator.
//!
//! The clients behind them are elsewhere. The list is short and has the large ones; an operator adds others with `asn:NUMBER`.

/// The AS numbers, in ascending order.
const NETWORKS: [u32; 24] = [
    9009,    // M247
    11_878,  // tzulo (Mullvad)
    13_335,  // Cloudflare (WARP, iCloud Private Relay)
    16_247,  // M247
    22_616,  // Zscaler
    36_183,  // Akamai (iCloud Private Relay)
    39_351,  // 31173 Services (Mullvad)
    53_813,  // Zscaler
    54_113,  // Fastly (iCloud Private Relay)
    55_256,  // Netskope
    60_068,  // Datacamp
    62_044,  // Zscaler
    62_240,  // Clouvider
    62_371,  // Proton
    136_787, // PacketHub (NordVPN)
    137_409, // GSL Networks
    141_039, // PacketHub (NordVPN)
    147_049, // PacketHub (NordVPN)
    199_218, // Proton
    206_092, // SecFirewall
    207_137, // PacketHub (NordVPN)
    209_103, // Proton
    209_854, // Cyberzone (Surfshark)
    212_238, // Datacamp
];

/// Whether this number is in the list.
pub(super) fn is_vpn(asn: u32) -> bool {
    NETWORKS.binary_search(&asn).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found() {
        assert!(NETWORKS.iter().all(|asn| is_vpn(*asn)) && NETWORKS.is_sorted());
        assert!(!is_vpn(0) && !is_vpn(3356));
    }
}
