//! Hop 3a: contracts compiled, published and enforced at run time
