# watchers
