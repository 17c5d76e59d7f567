//! Who a peer is: SPIFFE identities, their verification, TLS material, renewal and the CA client.
