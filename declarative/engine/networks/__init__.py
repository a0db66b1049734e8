"""Networks: bridges, namespaces, addresses, published ports, names."""
