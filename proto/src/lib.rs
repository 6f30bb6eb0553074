//! The contract on the wire: messages, clients that implement the ports, servers that serve them
