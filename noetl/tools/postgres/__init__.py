"""The postgres tool: connections kept between calls, transactions, exactly-once effects."""
