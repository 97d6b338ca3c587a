//! Whether a forwarded connection is SSH: by its first bytes, in either direction.
//!
//! An aid, not a boundary. It catches the everyday case, an `ssh` that goes through a forward
//! to where nobody records it; whoever wants to hide it sends something else first. The boundary
//! is the list of destinations.

/// What both sides of SSH say first (RFC 4253 §4.2).
const BANNER: &[u8] = b"SSH-";

/// Follows the first bytes of one direction.
#[derive(Default)]
pub(super) struct Banner {
    /// How many bytes have been seen, as far as they count; past the banner's length, none do.
    seen: usize,
}

impl Banner {
    /// Looks at the next bytes; true when they complete the banner.
    pub fn completed_by(&mut self, data: &[u8]) -> bool {
        for byte in data {
            match BANNER.get(self.seen) {
                Some(next) if next == byte => self.seen += 1,
                Some(_) => self.seen = usize::MAX,
                None => return false,
            }
            if self.seen == BANNER.len() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ssh(pieces: &[&str]) -> bool {
        let mut banner = Banner::default();
        pieces.iter().any(|piece| banner.completed_by(piece.as_bytes()))
    }

    #[test]
    fn ssh_is_known_by_its_first_bytes_however_they_are_cut() {
        for pieces in [&["SSH-2.0-x"][..], &["S", "S", "H", "-"], &["", "SSH", "-1.99"]] {
            assert!(is_ssh(pieces), "{pieces:?}");
        }
        for pieces in [
            &[""][..],
            &["SSH"],
            &["ssh-2.0"],
            &["GET / HTTP/1.1\r\n", "SSH-2.0"],
            &["SSSH-"],
            &["SSX", "SSH-2.0"],
            &[" SSH-"],
        ] {
            assert!(!is_ssh(pieces), "{pieces:?}");
        }
    }
}
