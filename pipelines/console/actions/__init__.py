"""What people do on pages."""
