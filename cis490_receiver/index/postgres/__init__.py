"""Rejections, reports and withdrawals in PostgreSQL; needs the extra `cluster`. See `index.base`."""
