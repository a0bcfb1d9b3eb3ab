"""What a report and a baseline hold: its shape, which rows are of one place, and what makes two comparable."""
