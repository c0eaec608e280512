"""What a mixed recording contains: how it is drawn, and the record of one draw."""
