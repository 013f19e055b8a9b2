"""What people look at: masks over pictures and videos, and pages that play them."""
