//! Hop 4: lease, verify, sign, deliver, record, back off
