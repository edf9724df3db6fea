# datagrams
