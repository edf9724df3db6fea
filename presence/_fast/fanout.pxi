# fanout
