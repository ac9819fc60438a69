"""One read-only page: live decisions and their reasons. Works without JavaScript, loads nothing from elsewhere."""
