"""Tasks: questions with known answers, and what checks an answer to them."""
