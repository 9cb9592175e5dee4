"""Check this device and install its timers: doctor, systemd, cron."""
