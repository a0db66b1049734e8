"""Networks: bridges, namespaces, addresses, published ports, names.

`networks` is what the rest of the engine speaks to. Below it: what is defined (`catalog`, `store`, `records`), worked out
(`addresses`, `endpoints`), told to the kernel (`wiring` by `links`, `netlink` and `namespaces`; `firewall` by `nftables`;
`conntrack`), held (`ports`, `publishing`, `relay`), answered (`names`, `dns`, `resolver`, `upstream`), and done beside others
(`in_use`, `neighbours`, `watch`, `later`).

The rule that keeps it simple: everything a running container needs is in the kernel, so that it goes on without the daemon; only
names, and what `relay` carries (::1, and IPv6 to containers without it), need it.
"""
