# framing
