# timers
