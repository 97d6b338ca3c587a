//! One customer's entries up to the last heartbeat, with all that shows that none is missing.

use super::{Ledger, LedgerError, Shown, reading::ReadError};
use audit_schema::{customer_export::CustomerExport, customers::blinded, event::Event};

/// Why there is no such export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WholeError {
    /// The customer was in no heartbeat yet.
    #[error("there was no heartbeat yet that this customer is in")]
    NoHeartbeat,
    /// The log does not answer.
    #[error("{0}")]
    Log(#[from] LedgerError),
    /// The log does not hold.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The heartbeat does not say what stands in the log.
    #[error("the heartbeat {heartbeat}: {fault}; run `bastion audit verify`")]
    Broken {
        /// Its place.
        heartbeat: u64,
        /// What is wrong.
        fault: &'static str,
    },
}

impl Ledger {
    /// The export, checked against what the heartbeat says, and who witnesses its checkpoint.
    pub async fn whole_customer(
        &self,
        customer: &str,
    ) -> Result<(CustomerExport, Option<String>), WholeError> {
        let last = self.last_heartbeat().await?.ok_or(WholeError::NoHeartbeat)?;
        let heartbeat = last.seq;
        let Shown { signed, witnessed } = self.shown().await?;
        let ends = self.ends_at(heartbeat).await?;
        if !ends.contains_key(customer) {
            return Err(WholeError::NoHeartbeat);
        }
        let map = self.map_of(&ends).await?;
        let (mut seqs, mut entries, mut last) = (Vec::new(), Vec::new(), None);
        let mut lines = self.lines(0, heartbeat + 1).await?;
        while let Some(found) = lines.next().await? {
            if found.entry.customer.as_ref().is_some_and(|link| link.id == customer) {
                seqs.push(found.entry.seq);
                entries.push(found.line.clone());
            }
            last = Some(found);
        }
        let broken = |fault| WholeError::Broken { heartbeat, fault };
        let last = last.ok_or(broken("it is missing"))?;
        let head = map.head();
        match last.entry.event() {
            Some(Event::Heartbeat { customers, map })
                if customers == head.size && map == head.root.to_string() => {}
            _ => return Err(broken("its map is not the one of the customers' entries")),
        }
        let blind = self.blind(customer).await?;
        let place = map.place(&blinded(customer, &blind.0));
        let (_, place, proof) = place.ok_or(broken("the customer is not in its map"))?;
        let ranges = CustomerExport::ranges(&seqs, heartbeat, signed.head.size);
        let nodes = self.roots(&ranges.ok_or(broken("it is not in the tree"))?).await?;
        let export = CustomerExport {
            customer: customer.to_owned(),
            blind,
            place,
            map: proof,
            heartbeat: last.line,
            nodes,
            entries,
            checkpoint: signed.note,
        };
        Ok((export, witnessed))
    }
}
