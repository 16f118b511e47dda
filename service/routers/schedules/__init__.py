"""Routes and models of schedules, and what runs them: renders that make themselves."""
