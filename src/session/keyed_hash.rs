//! A keyed hash of input that others send: SipHash-2-4 with 128 bits of output.
//!
//! SipHash is a pseudorandom function (Aumasson and Bernstein, 2012): without the key, its values cannot be told from random
//! ones. So nobody can find a text with the same hash as another, or make many texts collide in one place of a table. Each
//! process makes a new key, and the values never leave it. It costs a fraction of SHA-256.

use crate::secret::NoRandomness;
use crate::secret::random_bytes;

/// The key of the hash.
pub(super) struct HashKey(u64, u64);

impl HashKey {
    /// Creates a random key.
    pub(super) fn random() -> Result<Self, NoRandomness> {
        Ok(Self(u64::from_le_bytes(random_bytes()?), u64::from_le_bytes(random_bytes()?)))
    }

    /// Returns the hash of these eight bytes followed by the text.
    pub(super) fn hash(&self, first: [u8; 8], text: &[u8]) -> u128 {
        let mut state = HashState::new(self);
        state.word(u64::from_le_bytes(first));
        state.rest(text, first.len() + text.len())
    }
}

struct HashState([u64; 4]);

impl HashState {
    const fn new(key: &HashKey) -> Self {
        // The constants are the ASCII of "somepseudorandomlygeneratedbytes"; 0xee stands for 128 bits of output.
        Self([
            key.0 ^ 0x736f_6d65_7073_6575,
            key.1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            key.0 ^ 0x6c79_6765_6e65_7261,
            key.1 ^ 0x7465_6462_7974_6573,
        ])
    }

    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    const fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    /// Hashes the rest of a message of `length` bytes, and returns the hash.
    fn rest(mut self, text: &[u8], length: usize) -> u128 {
        let (words, last) = text.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut end = [0; 8];
        end.iter_mut().zip(last).for_each(|(to, from)| *to = *from);
        end[7] = length.to_le_bytes()[0];
        self.word(u64::from_le_bytes(end));
        self.0[2] ^= 0xee;
        let low = self.settled();
        self.0[1] ^= 0xdd;
        let high = self.settled();
        u128::from(high) << 64 | u128::from(low)
    }

    const fn settled(&mut self) -> u64 {
        self.round();
        self.round();
        self.round();
        self.round();
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_siphash() {
        // The test vectors of OpenSSL: the key is 00 to 0f, and the messages are the first bytes of 00 01 02 ...
        let key = || HashKey(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let message: Vec<u8> = (0..64).collect();
        for (length, hash) in [
            (8, 0xb497_14f3_64e2_830f_61f5_5862_baa9_623b),
            (9, 0xed71_6dbb_028b_7fc4_abba_d90a_0699_4426),
            (15, 0xd9c3_cf97_0fec_087e_11a8_b033_99e9_9354),
            (16, 0x7705_2385_bf15_33fd_bb54_b067_caa4_e26e),
            (23, 0x1c69_bf9a_9ae2_8ccf_e0f5_a9d5_dd84_d1c9),
            (47, 0x1b15_63dc_4bd8_c88e_d119_0b72_2b43_1ce6),
            (63, 0x7cbd_3f97_9a06_3e50_4a83_502f_77d1_5051),
        ] {
            let (first, rest) = message.split_at(8);
            let text = &rest[..length - 8];
            assert_eq!(key().hash(first.try_into().unwrap(), text), hash, "{length}");
        }
        let empty = HashState::new(&key()).rest(b"", 0);
        assert_eq!(empty, 0x9302_55c7_1472_f66d_e6a8_25ba_047f_81a3);
    }

    #[test]
    fn another_key_gives_other_hashes() {
        let (one, other) = (HashKey::random().unwrap(), HashKey::random().unwrap());
        assert_ne!(one.hash([0; 8], b"token"), other.hash([0; 8], b"token"));
        assert_ne!(one.hash([0; 8], b"token"), one.hash([1; 8], b"token"));
    }
}
