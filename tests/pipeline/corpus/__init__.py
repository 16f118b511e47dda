"""Images that other projects test their own readers with, compared with an independent reader."""
