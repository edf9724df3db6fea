# serialise
