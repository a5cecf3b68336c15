"""Files of hands: meshes, glTF, MANO parameters, hands.json."""
